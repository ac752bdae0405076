"""Image files: decoded to intensities and back, with their metadata, and written atomically.

paths        printable names, resolved links
atomic       writing a file whole or not at all
memory       what an image takes, and what the machine has
pillow       Pillow as this package uses it
decoded      a decoded image and everything that must come through unchanged
orientation  turning and mirroring by the EXIF orientation
stack        several images in one file, and volumes
opening      a file's header, family and series, before a pixel is decoded
reading      decoding the images of a file
writing      encoding a file
large        images read and written in parts
"""
