"""Images and plots for people to look at.

contact_sheet  one crop denoised with many settings
comparison     images beside a reference
figures        plots of noise curves and convergence traces; residuals
screen         mapping intensities to displayed grey levels
prior_figure   filters and potentials of a learned prior
"""
