// SPDX-License-Identifier: Apache-2.0
/* itk_read mhd|nhdr FILE: the pixels of an image as ITK reads them, in this machine's byte order. */
#include <cstdio>
#include <string>
#include <vector>

#include <itkMetaImageIO.h>
#include <itkNrrdImageIO.h>

static void read(itk::ImageIOBase::Pointer io, const char *path)
{
    io->SetFileName(path);
    io->ReadImageInformation();
    itk::ImageIORegion region(io->GetNumberOfDimensions());
    for (unsigned i = 0; i < io->GetNumberOfDimensions(); i++) {
        region.SetSize(i, io->GetDimensions(i));
        std::fprintf(stderr, "%lu ", (unsigned long)io->GetDimensions(i));
    }
    std::fprintf(stderr, "%s\n", io->GetComponentTypeAsString(io->GetComponentType()).c_str());
    std::vector<char> pixels(io->GetImageSizeInBytes());
    io->SetIORegion(region);
    io->Read(pixels.data());
    std::fwrite(pixels.data(), 1, pixels.size(), stdout);
}

int main(int, char **argv)
{
    if (std::string(argv[1]) == "mhd")
        read(itk::MetaImageIO::New().GetPointer(), argv[2]);
    else
        read(itk::NrrdImageIO::New().GetPointer(), argv[2]);
    return 0;
}
