"""Minimisation of J by gradient descent.

descent     the iteration, its states and the solution
step_rules  the next step: Barzilai-Borwein, 1/L, or quasi-Newton for learned filters
stopping    the stopping rule: the certificate
filling     pixels without a value of their own
implicit    derivatives of the minimiser by the image and the parameters
compiled    the descent compiled as a whole, for small images
"""
