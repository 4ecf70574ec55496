"""What a user does with choices: takes steps and takes them back, keeps several plans side by side, starts from a
preset; and how all that is said in words."""
