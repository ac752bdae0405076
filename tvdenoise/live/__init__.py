"""The live page: a page with sliders that denoises its visible part as they move.

server   the web server on the loopback interface, and access control
session  one open page: its messages, and saving
scene    the image being tuned
preview  solving the visible part, starting from the last solution
view     what a page asks to see: a region of the image, and parameters
"""
