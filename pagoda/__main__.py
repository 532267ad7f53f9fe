"""`python -m pagoda` is the `pagoda` command."""

from pagoda.cli.main import main

main()
