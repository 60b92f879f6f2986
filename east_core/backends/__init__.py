"""The heavy engines, one library a file; imported only inside the child processes that run them."""
