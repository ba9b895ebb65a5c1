"""``python -m ml_prediction``: the command line."""

from ml_prediction.cli import main

if __name__ == "__main__":
    main()
