"""`python -m pagoda.cli` is `pagoda`."""

from pagoda.cli.main import main

main()
