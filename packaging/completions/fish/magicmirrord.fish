# Completion of magicmirrord(8) for fish. Tests/Checks/completions holds it against --help.

complete -c magicmirrord -f
complete -c magicmirrord -l config -r -F -d 'configuration (/etc/magicmirror/relay.conf)'
complete -c magicmirrord -l check -d 'read the configuration, say what is wrong, stop'
complete -c magicmirrord -l quickstart -d 'serve without any configuration'
complete -c magicmirrord -l listen -x -d 'where --quickstart listens (127.0.0.1:8443)'
complete -c magicmirrord -l state -x -a '(__fish_complete_directories)' -d 'where --quickstart keeps its files (./magicmirror-quickstart)'
complete -c magicmirrord -l log-level -x -a 'error warning info debug' -d 'error, warning, info or debug (info)'
complete -c magicmirrord -l version -d 'print the version and stop'
complete -c magicmirrord -s h -l help -d 'print this and stop'
