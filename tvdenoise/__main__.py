"""``python -m tvdenoise``."""

from tvdenoise.cli import main

if __name__ == "__main__":
    main()
