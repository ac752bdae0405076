"""The mathematics: the objective J, its parts, and the engines that evaluate it.

operators       the sparse image gradient and its adjoint, the negative divergence
penalties       the smoothed absolute value h: hyperbola or Huber's function
fidelity        pixel weights of the fidelity μ/2 ‖x − f‖²
colour          the luminance/opponent basis
objective       J, its gradient, its Lipschitz constant, the certificate
engines         step and evaluation of J: the sparse definition, or fused kernels on bands of rows
kernels         the fused sweep for images
volume_kernels  the fused sweep for volumes and weights
kernel_cache    cache of compiled kernels in the user's cache folder
part_sums       J and ‖∇J‖² over a part of an image
"""
