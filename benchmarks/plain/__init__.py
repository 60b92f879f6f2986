"""The scripts that one would write without this project, as the libraries' manuals have them."""
