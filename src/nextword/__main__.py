"""`python -m nextword`, which is how `torchrun -m nextword` starts each of several processes."""

from nextword.cli import main

if __name__ == "__main__":
    main()
