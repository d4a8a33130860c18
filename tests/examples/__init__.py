"""The programs under examples/, run as their readers run them."""
