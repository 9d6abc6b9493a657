"""``python -m gateway`` is ``talkpath``."""

from gateway.cli import main

if __name__ == "__main__":
    main()
