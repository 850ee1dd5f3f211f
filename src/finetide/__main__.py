from finetide.cli import main

main()
