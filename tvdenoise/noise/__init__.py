"""Noise, estimated from the one image that holds it: its level, growth with intensity, and correlation."""
