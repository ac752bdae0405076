"""Images and volumes too large for memory: solved in overlapping windows, with one certificate for the whole.

source     the noisy image, read in windows; arithmetic of windows
partition  the partition into windows with overlaps and blending weights, within a memory budget
plan       one pass over the image: extremes, evidence of the noise, parameters, certificate, partition
evaluation J and ∇J in a window
passes     solves of windows, joined in a composite on disk
refining   the certificate of the composite, and further passes until it is met
"""
