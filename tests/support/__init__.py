"""Helpers that tests share.

values         small arrays, and the pixels of a file
samples        the sample images, noise of known kinds, distances between images
minimisers     minimisers found by an independent method
processes      environment and leftovers of the command in a separate process
measured       runs the command and measures its time and memory
launcher       the same in forked processes, which saves the time for imports
makers         files of every format, kind of pixels and metadata, written by other programs
readers        pixels and metadata of a file, as other programs read them
metadata       metadata to put into files
round_trips    files passed through the command with almost no smoothing
seeds          one small valid file of each kind, to be damaged
mutations      seeded damage to files
hostile        files made to exhaust memory or time
own_time       the time of processes without their waits for a processor
animation_files, camera_files, jp2_files, tiff_files   files of these kinds, assembled byte by byte
measurements   small files as instruments write them, with their truth and the options that suit them
live_client, browser   clients of the live page, without and with a browser
pages          the pages of documentation
"""
