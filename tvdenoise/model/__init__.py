"""The mathematics: the objective J, its parts, and the engines that evaluate it.

operators       the sparse image gradient and its adjoint, the negative divergence
penalties       h: the hyperbola and Huber's function
fidelity        the weights of μ/2 ‖x − f‖²
colour          the luminance/opponent basis
objective       J, its gradient, its Lipschitz constant, the certificate
engines         evaluation of J and a step: the sparse definition, and the fused kernels on bands
kernels         the fused sweep for images
volume_kernels  the fused sweep for volumes and weights
kernel_cache    compiled kernels in the user's cache folder
part_sums       J and ‖∇J‖² over a part of an image
"""
