"""`python -m sp_plugin` is `sp-plugin`."""

from sp_plugin.cli import main

main()
