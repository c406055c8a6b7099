"""`python -m ppl` is the command line `galton`."""

from .cli import main

if __name__ == "__main__":
    main()
