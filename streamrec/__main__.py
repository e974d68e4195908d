"""`python -m streamrec`: the command line without an installed script."""

from streamrec.start import main

if __name__ == "__main__":
    main()
