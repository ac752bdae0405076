"""TIFF. Its modules, in the order in which one would read them:

family       what is read, refused, kept and left out of a TIFF; the others in use
directories  the directories of a file: walked, screened, and their fields byte for byte
opening      files that Pillow does not open
samples      which samples are decoded by tifffile, by Pillow, or by nobody
segments     strips and tiles: decoding them, whole or the parts that a window touches
tags         what describes the picture, and what is left out
pages        several pages, their axes, and each as a file of its own
writing      pages and their tags, one by one or in parts
"""

from tvdenoise.formats.tiff.family import FAMILY

__all__ = ["FAMILY"]
