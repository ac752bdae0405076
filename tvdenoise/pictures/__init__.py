"""Pictures for people.

contact_sheet  the same pixels with many settings
comparison     images beside a reference
residual       what a solve removed
figures        noise curves, and the trace of a solve
screen         which intensities are shown black and white, and as which bytes
"""
