"""Image files: decoding to intensities, encoding with metadata, atomic writing.

paths        printable names, resolved links
atomic       atomic replacement of a file, or of several together
memory       memory that an image needs, and memory that is available
pillow       settings, pixels and metadata of Pillow
decoded      a decoded image with its metadata
orientation  rotation and mirroring by the EXIF orientation
stack        several images in one file, and volumes
slices       the files of a folder as the planes of one volume, and their order
opening      a file's header, family and series, without decoding pixels
reading      decoding the images of a file
mask_values  the values of a file that serves as a mask
writing      encoding a file
large        images that are read and written in parts
"""
