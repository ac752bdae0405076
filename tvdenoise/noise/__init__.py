"""Noise estimation from a single image: level, growth with intensity, and correlation.

model       the noise model of an image
evidence    the input of an estimate: windows, regions, planes
blocks      variance by intensity, and the spectrum, from calm blocks
estimation  the estimators
"""
