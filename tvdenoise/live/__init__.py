"""Tuning by eye: a local page that denoises what it shows while sliders move."""
