"""Going down J.

descent     the iteration, its states, the solution
step_rules  how far to step: Barzilai-Borwein, or 1/L
stopping    when to stop: the certificate
"""
