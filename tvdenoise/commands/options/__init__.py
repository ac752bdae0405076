"""The options of the commands, a module for each panel of the help: names, explanations, and what they take."""
