// SPDX-License-Identifier: Apache-2.0
#include "cli.h"
#include "file.h"
#include "temporary.h"

#include <errno.h>
#include <png.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* libpng does not say why the system has refused something, but leaves it in errno. */
static int write_image(FILE *stream, png_image *image, const unsigned char *pixels)
{
    errno = 0;
    if (png_image_write_to_stdio(image, stream, 0, pixels, 0, NULL) && fflush(stream) == 0)
        return 0;
    return errno ? -errno : -EIO;
}

static int write_file(int fd, png_image *image, const unsigned char *pixels)
{
    FILE *stream = fdopen(fd, "wb");
    int error = stream ? write_image(stream, image, pixels) : -errno;

    if ((stream ? fclose(stream) : close(fd)) != 0 && !error)
        error = -errno;
    return error;
}

int png_write(const char *path, bool force, unsigned width, unsigned height, unsigned channels,
              const unsigned char *pixels)
{
    png_image image = {.version = PNG_IMAGE_VERSION, .width = width, .height = height,
                       .format = channels == 1 ? PNG_FORMAT_GRAY : PNG_FORMAT_RGB};
    struct temporary temporary;
    int fd, error, named;

    if (strcmp(path, "-") == 0)
        return write_image(stdout, &image, pixels) ? fail_output() : 0;
    if (is_special(path))
        return dn_fail(-ESPIPE, "%s: pictures are written to files and standard output", path);
    fd = temporary_create(&temporary, path);
    error = fd < 0 ? fd : write_file(fd, &image, pixels);
    named = temporary_finish(&temporary, !error, force);
    error = error ? error : named;
    return error ? dn_fail(error, "%s: %s", path, strerror(-error)) : 0;
}
