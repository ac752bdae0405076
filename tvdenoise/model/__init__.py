"""The mathematics: the objective J, its parts, and the two engines that evaluate it."""
