# SPDX-License-Identifier: Apache-2.0
# Completion of falco-py for bash. Made by `make docs`.

_falco_py_files() {
    compopt -o filenames 2>/dev/null
    mapfile -t COMPREPLY < <(compgen -f -- "$1")
}

_falco_py_words() {
    mapfile -t COMPREPLY < <(compgen -W "$2" -- "$1")
}

_falco_py() {
    local current=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]} command=
    COMPREPLY=()
    if [[ $COMP_CWORD -gt 1 ]]; then
        case ${COMP_WORDS[1]} in
            explain|test|record|doctor) command=${COMP_WORDS[1]} ;;
        esac
    fi
    [[ $current == = || $before == = ]] && return
    case "$command $before" in
        ' -c' | ' -r' | ' -P' | ' -V' | 'explain -c' | 'explain -r' | 'explain --event' | 'explain --socket' | 'test -c' | 'test -r' | 'record -c' | 'record -r' | 'record -w' | 'doctor -c' | 'doctor -r')
            _falco_py_files "$current"
            return
            ;;
        ' -o' | 'explain -o' | 'test -o' | 'record -o' | 'doctor -o')
            compopt -o nospace 2>/dev/null
            _falco_py_words "$current" "config_files= watch_config_files= rules_files= rules_file= rule_files= rules= rule_matching= priority= json_output= json_include_output_property= json_include_message_property= json_include_output_fields_property= json_include_tags_property= time_format_iso_8601= buffer_format_base64= append_output= static_fields= buffered_outputs= stdout_output.enabled= syslog_output.enabled= file_output.enabled= file_output.keep_alive= file_output.filename= program_output.enabled= program_output.keep_alive= program_output.program= program_output.timeout_s= http_output.enabled= http_output.url= http_output.format= http_output.user_agent= http_output.headers= http_output.insecure= http_output.ca_cert= http_output.ca_bundle= http_output.ca_path= http_output.mtls= http_output.client_cert= http_output.client_key= http_output.echo= http_output.compress_uploads= http_output.keep_alive= http_output.max_consecutive_timeouts= http_output.max_in_flight= http_output.spool.directory= http_output.spool.max_size_mb= outputs_queue.capacity= fold_repeats.interval_s= fold_repeats.by= output_timeout= log_stderr= log_syslog= log_level= log_format= libs_logger.enabled= libs_logger.severity= engine.kind= engine.kmod.buf_size_preset= engine.kmod.drop_failed_exit= engine.modern_ebpf.cpus_for_each_buffer= engine.modern_ebpf.buf_size_preset= engine.modern_ebpf.drop_failed_exit= engine.modern_ebpf.disable_iterators= engine.replay.capture_file= engine.falco_py.cpu_limit_percent= engine.falco_py.facts_wait_ms= engine.falco_py.broken_rules_files= capture.enabled= capture.path_prefix= capture.mode= capture.default_duration= capture.max_file_size_mb= load_plugins= plugins= plugins_hostinfo= container_engines.docker.enabled= container_engines.podman.enabled= container_engines.lxc.enabled= container_engines.libvirt_lxc.enabled= container_engines.bpm.enabled= container_engines.cri.enabled= container_engines.cri.sockets= container_engines.cri.disable_async= base_syscalls.custom_set= base_syscalls.repair= base_syscalls.all= falco_libs.thread_table_size= falco_libs.thread_table_auto_purging_interval_s= falco_libs.thread_table_auto_purging_thread_timeout_s= falco_libs.snaplen= kubernetes.enabled= kubernetes.kubeconfig= kubernetes.node_name= kubernetes.pods= kubernetes.owners= kubernetes.services= kubernetes.rules_configmap= kubernetes.rules_directory= kubernetes.events= syscall_event_timeouts.max_consecutives= syscall_event_drops.threshold= syscall_event_drops.actions= syscall_event_drops.rate= syscall_event_drops.max_burst= syscall_event_drops.simulate_drops= webserver.enabled= webserver.threadiness= webserver.listen_port= webserver.listen_address= webserver.k8s_healthz_endpoint= webserver.prometheus_metrics_enabled= webserver.ssl_enabled= webserver.ssl_certificate= webserver.bearer_token= metrics.enabled= metrics.interval= metrics.output_rule= metrics.output_file= metrics.rules_counters_enabled= metrics.resource_utilization_enabled= metrics.state_counters_enabled= metrics.kernel_event_counters_enabled= metrics.kernel_event_counters_per_cpu_enabled= metrics.libbpf_stats_enabled= metrics.plugins_metrics_enabled= metrics.kernel_iter_event_counters_enabled= metrics.jemalloc_stats_enabled= metrics.convert_memory_to_mb= metrics.include_empty_values="
            return
            ;;
        ' -M' | ' -D' | ' -T' | ' -t' | ' -l' | 'explain --type' | 'record --rule' | 'record --type' | 'record -n' | 'record -M')
            return
            ;;
        ' -p')
            _falco_py_words "$current" "container kubernetes"
            return
            ;;
        ' --enable-source' | ' --disable-source')
            _falco_py_words "$current" "syscall"
            return
            ;;
        ' --format')
            _falco_py_words "$current" "text markdown json"
            return
            ;;
        ' --plugin-info')
            _falco_py_words "$current" "container json k8saudit k8smeta"
            return
            ;;
    esac
    case $command in
        '')
            if [[ $COMP_CWORD -eq 1 && $current != -* ]]; then
                _falco_py_words "$current" "explain test record doctor"
            else
                _falco_py_words "$current" "-c -r -o -M -P -U -v -p -D -T -t --enable-source --disable-source --dry-run -V -L -l --list -N --list-events --format --markdown --rule-schema --config-schema -i --list-plugins --plugin-info --support --page-size --version -h --help"
            fi
            ;;
        explain)
            _falco_py_words "$current" "-c -r -o -h --help --event --type --complete --python --cost --socket"
            ;;
        test)
            if [[ $current == -* ]]; then _falco_py_words "$current" "-c -r -o -h --help --coverage"; else _falco_py_files "$current"; fi
            ;;
        record)
            _falco_py_words "$current" "-c -r -o -h --help -w --rule --type --firing -n -M"
            ;;
        doctor)
            _falco_py_words "$current" "-c -r -o -h --help --json"
            ;;
    esac
}

complete -F _falco_py falco-py
