"""Images and volumes too large to hold: solved in windows, with one certificate for the whole.

source     a noisy image of which windows can be read, and the solution, window by window
partition  cores side by side, their overlaps, their blending weights, and what a memory budget allows
plan       one pass over the image: extremes, evidence of the noise, parameters, certificate, partition
passes     windows solved, and joined in a composite on disk
refining   the certificate of the composite, and further passes until it holds
"""
