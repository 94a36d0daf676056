// SPDX-License-Identifier: Apache-2.0
// Opens a dataset of a mounted connection as a virtual stack: Import > Raw... with what .meta says.
// The argument is the dataset's folder, with print: before it to print three planes' statistics.

function value(lines, key) {
    for (i = 0; i < lines.length; i++)
        if (startsWith(lines[i], key + " = "))
            return substring(lines[i], lengthOf(key) + 3);
    exit("there is no " + key + " in .meta");
}

// numpy's type as Import > Raw... calls it.
function rawType(dtype) {
    types = newArray("u1", "8-bit", "u2", "16-bit Unsigned", "i2", "16-bit Signed", "u4", "32-bit Unsigned",
                     "i4", "32-bit Signed", "f4", "32-bit Real", "f8", "64-bit Real");
    for (i = 0; i < types.length; i += 2)
        if (substring(dtype, 1) == types[i])
            return types[i + 1];
    exit("ImageJ cannot show elements of type " + dtype);
}

folder = getArgument();
verbose = startsWith(folder, "print:");
if (verbose)
    folder = substring(folder, 6);
if (folder == "")
    folder = getDirectory("The dataset's folder");
if (!endsWith(folder, "/"))
    folder = folder + "/";
meta = split(File.openAsString(folder + ".meta"), "\n");
shape = split(value(meta, "shape"), ",");
dtype = value(meta, "dtype");

n = shape.length;
width = parseInt(shape[n - 1]);
height = 1;
if (n > 1)
    height = parseInt(shape[n - 2]);
planes = 1;
for (k = 0; k < n - 2; k++)
    planes = planes * parseInt(shape[k]);
order = " little-endian";
if (startsWith(dtype, ">"))
    order = "";

run("Raw...", "open=[" + folder + "data] image=[" + rawType(dtype) + "] width=" + width + " height=" + height +
    " offset=0 number=" + planes + " gap=0" + order + " use");

if (verbose) {
    print("size", width, height, nSlices);
    wanted = newArray(1, floor((nSlices + 1) / 2), nSlices);
    for (k = 0; k < 3; k++) {
        if (nSlices > 1)
            setSlice(wanted[k]);
        getStatistics(area, mean, min, max);
        print("plane", wanted[k] - 1, "mean", d2s(mean, 6), "min", min, "max", max);
    }
}
