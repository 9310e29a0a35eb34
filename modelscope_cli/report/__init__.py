"""What analyses hand to renderers: documents of typed cells, without units or colours."""
