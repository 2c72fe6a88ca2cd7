from service.migrate import main

main()
