"""``python -m tvdenoise``."""

from tvdenoise.commands.app import main

if __name__ == "__main__":
    main()
