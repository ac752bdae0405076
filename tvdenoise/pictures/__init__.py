"""Pictures for people.

contact_sheet  the same pixels with many settings
comparison     images beside a reference
residual       what a solve removed
figures        noise curves, and the trace of a solve
screen         intensities as a screen shows them
"""
