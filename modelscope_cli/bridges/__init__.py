"""Other people's programs behind optional extras. Only here may torch and its like be imported, in the function that uses them."""
