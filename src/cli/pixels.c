// SPDX-License-Identifier: Apache-2.0
#include "cli.h"
#include "file.h"

#include <errno.h>
#include <png.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int write_image(FILE *stream, png_image *image, const unsigned char *pixels)
{
    return png_image_write_to_stdio(image, stream, 0, pixels, 0, NULL) && fflush(stream) == 0 ? 0 : -EIO;
}

int png_write(const char *path, unsigned width, unsigned height, unsigned channels, const unsigned char *pixels)
{
    png_image image = {.version = PNG_IMAGE_VERSION, .width = width, .height = height,
                       .format = channels == 1 ? PNG_FORMAT_GRAY : PNG_FORMAT_RGB};
    char *temporary;
    FILE *stream;
    int error;

    if (strcmp(path, "-") == 0)
        return write_image(stdout, &image, pixels) ? dn_fail(-EIO, "the picture cannot be written") : 0;
    if (is_special(path))
        return dn_fail(-ESPIPE, "%s: pictures are written to files and standard output", path);
    temporary = part_path(path);
    if (!temporary)
        return no_memory();
    stream = fopen(temporary, "wbe");
    error = stream ? write_image(stream, &image, pixels) : -errno;
    if (stream && fclose(stream) != 0)
        error = -errno;
    if (!error && rename(temporary, path) < 0)
        error = -errno;
    if (error && stream)
        unlink(temporary);
    free(temporary);
    return error ? dn_fail(error, "%s: %s", path, strerror(-error)) : 0;
}
