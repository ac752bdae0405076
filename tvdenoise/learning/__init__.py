"""Learning the filters and potentials of a prior from clean images.

weights      the numbers that are learned, the bank they stand for, and derivatives by them
patches      parts of clean images and the noise added to them
patch_error  denoising a patch, and the derivative of its error by the bank
course       the steps of learning: Adam, the schedule, validation, and the state to continue from
"""
