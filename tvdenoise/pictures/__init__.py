"""Images and plots for people to look at.

contact_sheet  one crop denoised with many settings
comparison     images beside a reference
residual       the difference between input and result
figures        plots of noise curves and convergence traces
screen         mapping intensities to displayed grey levels
"""
