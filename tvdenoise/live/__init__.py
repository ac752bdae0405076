"""The live page: it denoises what it shows while sliders move.

server   who is served, on the loopback device
session  one open page
scene    the image that is tuned
preview  the visible part, solved from the last solution on
view     from the page to pixels and back
setting  the parameters that the page sets
"""
