"""The mathematics: the objective J, its parts, and the engines that evaluate it.

operators       the sparse image gradient and its adjoint, the negative divergence
penalties       the smoothed absolute value h: hyperbola or Huber's function
fidelity        pixel weights of the fidelity μ/2 ‖x − f‖²
colour          the luminance/opponent basis
objective       J, its gradient, its Lipschitz constant, the certificate
engines         step and evaluation of J: the sparse definition, or the fused sweep on bands of rows
kernels         the fused sweep, compiled for each form of J
threads         persistent helper threads
filters         learned filters in the place of the image gradient, their potentials and bounds
gates           factors of their potentials in each pixel, which follow from the noisy image
filter_engine, filter_kernels, gate_kernels   step and evaluation of J with learned filters, on tiles
products        products of a small matrix with rows, in explicit vectors
step_metrics    what the objective gradient is divided by
prior_file      learned priors in files
kernel_cache    cache of compiled kernels in the user's cache folder
preparation     the time that loading and compiling kernels takes, and listeners to compilations
part_sums       J and ‖∇J‖² over a part of an image
"""
