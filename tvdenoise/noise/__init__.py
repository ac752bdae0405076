"""Noise, estimated from the one image that holds it: its level, growth with intensity, and correlation.

model       what the noise of an image is like
evidence    what an estimate is read from: windows, regions, planes
blocks      calm blocks: variance by intensity, and the spectrum
estimation  the estimates
"""
