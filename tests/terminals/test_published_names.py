"""The published package's names: what suites import, call by position and by keyword, override and catch.

Invariant: each published parameter has here the same name, place and default; what is new follows and is optional.
"""

from __future__ import annotations

import inspect
from unittest.mock import create_autospec

import pytest

from tests.published import Names, published

OURS = Names("crl.interactivesessions")

# One line for a callable; `...` stands for a default that is any callable or object.
PUBLISHED = """
InteractiveSession.InteractiveSession(dump_received=None, dump_outgoing=None)
InteractiveSession.InteractiveSession.spawn(shell)
InteractiveSession.InteractiveSession.push(shell, timeout=30)
InteractiveSession.InteractiveSession.pop()
InteractiveSession.InteractiveSession.pop_until(shell)
InteractiveSession.InteractiveSession.current_shell()
InteractiveSession.InteractiveSession.get_parent_shell()
InteractiveSession.InteractiveSession.get_nbr_of_shells()
InteractiveSession.InteractiveSession.isalive()
InteractiveSession.InteractiveSession.close_terminal()
autorecoveringterminal.AutoRecoveringTerminal()
autorecoveringterminal.AutoRecoveringTerminal.initialize(shells, broken_exceptions=..., init_broken_exceptions=..., sleep_between_tries=3, max_tries=3, prepare=..., finalize=..., verify=...)
autorecoveringterminal.AutoRecoveringTerminal.initialize_terminal()
autorecoveringterminal.AutoRecoveringTerminal.initialize_if_needed()
autorecoveringterminal.AutoRecoveringTerminal.auto_close()
autorecoveringterminal.AutoRecoveringTerminal.set_broken_exceptions(broken_exceptions)
autorecoveringterminal.AutoRecoveringTerminal.set_prepare(prepare)
autorecoveringterminal.AutoRecoveringTerminal.set_finalize(finalize)
autorecoveringterminal.AutoRecoveringTerminal.set_verify(verify)
autorecoveringterminal.AutoRecoveringTerminal.get_session()
autorecoveringterminal.AutoRecoveringTerminal.close()
runnerterminal.RunnerTerminal()
runnerterminal.RunnerTerminal.initialize(session)
runnerterminal.RunnerTerminal.setup_session()
runnerterminal.RunnerTerminal.initialize_if_needed()
runnerterminal.RunnerTerminal.get_session()
runnerterminal.RunnerTerminal.set_default_timeout(default_timeout)
runnerterminal.RunnerTerminal.error_handling()
runnerterminal.RunnerTerminal.run(cmd, timeout=-1, _rerun=False)
runnerterminal.RunnerTerminal.run_python(cmd, timeout=None)
runnerterminal.RunnerTerminal.assign_and_run_python(handle, cmd, timeout=None)
runnerterminal.RunnerTerminal.run_and_return_handled_python(handle)
runnerterminal.RunnerTerminal.run_python_call(function_name, *args, **kwargs)
runnerterminal.RunnerTerminal.run_python_call_with_timeout(timeout, function_name, args, kwargs)
runnerterminal.RunnerTerminal.get_response(remotetimeout, timeout=None)
runnerterminal.RunnerTerminal.import_libraries(*imports)
runnerterminal.RunnerTerminal.get_proxy_object(remote_object, local_spec)
runnerterminal.RunnerTerminal.get_proxy_object_from_call(function_name, *args, **kwargs)
runnerterminal.RunnerTerminal.get_proxy_or_basic_from_call(function_name, *args, **kwargs)
runnerterminal.RunnerTerminal.get_proxy_or_basic_from_call_with_timeout(timeout, function_name, args, kwargs)
runnerterminal.RunnerTerminal.get_recursive_proxy(remote_object)
runnerterminal.RunnerTerminal.create_empty_remote_proxy()
runnerterminal.RunnerTerminal.create_empty_recursive_proxy()
runnerterminal.RunnerTerminal.iscallable(remote_object)
runnerterminal.RunnerTerminal.isproxy(obj)
runnerterminal.RunnerTerminal.serialize(content)
runnerterminal.RunnerTerminal.add_handle_to_garbage(session_id, handle)
runnerterminal.RunnerTerminal.get_response_or_raise(out, cmd)
runnerterminal.RunnerTerminal.close()
runnerterminal.RunnerTerminal.close_session()
autorunnerterminal.AutoRunnerTerminal()
autorunnerterminal.AutoRunnerTerminal.initialize(session, prepare=..., finalize=...)
autorunnerterminal.AutoRunnerTerminal.initialize_with_shells(shells, prepare=..., finalize=...)
autorunnerterminal.AutoRunnerTerminal.initialize_with_shelldicts(shelldicts, prepare=..., finalize=...)
autorunnerterminal.AutoRunnerTerminal.initialize_if_needed()
autorunnerterminal.AutoRunnerTerminal.error_handling()
remoteproxies._RemoteProxy(session, remote_name, local_spec=None, parent=None, is_remote_owned=True)
remoteproxies._RemoteProxy.as_local_value()
remoteproxies._RemoteProxy.as_recursive_proxy()
remoteproxies._RemoteProxy.get_proxy_handle()
remoteproxies._RemoteProxy.set_proxy_spec(local_spec)
remoteproxies._RemoteProxy.set_from_remote_proxy(proxy)
remoteproxies._RemoteProxy.get_remote_proxy_response(remotetimeout, timeout=None)
remoteproxies._RemoteProxy.set_remote_proxy_timeout(timeout)
remoteproxies._RemoteProxy.remote_proxy_use_synchronous_response()
remoteproxies._RemoteProxy.remote_proxy_use_asynchronous_response()
remoteproxies._RemoteProxy.remote_proxy_autoprepare()
remoteproxies._RemoteProxy.remote_proxy_verify()
remoteproxies._RemoteProxy.get_remote_proxy_dict()
remoteproxies._RemoteProxy.set_remote_proxy_default_timeout(timeout)
remoteproxies._RemoteProxy.reset_remote_proxy_default_timeout()
remoteproxies._RecursiveProxy(session, remote_name, parent=None, is_remote_owned=None)
runnerexceptions.RemoteTimeout(response_id)
runnerexceptions.RemoteTimeout.add_response_wrap(response_wrap)
runnerexceptions.responsehandler(function, response_wrap=...)
runnerexceptions.asyncresponsehandler(function, response_wrap)
interactivesessionexceptions.UnexpectedPrompt(received, expected)
remoterunner.RemoteRunner()
remoterunner.RemoteRunner.set_target(shelldicts, name='default')
remoterunner.RemoteRunner.set_target_property(target_name, property_name, property_value)
remoterunner.RemoteRunner.set_default_target_property(property_name, property_value)
remoterunner.RemoteRunner.get_target_properties(target)
remoterunner.RemoteRunner.set_terminalpools_maxsize(maxsize)
remoterunner.RemoteRunner.execute_command_in_target(command, target='default', timeout=3600, executable=None, progress_log=False)
remoterunner.RemoteRunner.execute_background_command_in_target(command, target='default', exec_id='background', executable=None)
remoterunner.RemoteRunner.execute_nohup_background_in_target(command, target='default', executable=None)
remoterunner.RemoteRunner.wait_background_execution(exec_id, timeout=3600)
remoterunner.RemoteRunner.kill_background_execution(exec_id)
remoterunner.RemoteRunner.copy_file_between_targets(from_target, source_file, to_target, destination_dir='.', mode='0o755', timeout=3600)
remoterunner.RemoteRunner.copy_file_from_target(source_file, destination=None, target='default', timeout=3600)
remoterunner.RemoteRunner.copy_file_to_target(source_file, destination_dir='.', mode='0o755', target='default', timeout=3600)
remoterunner.RemoteRunner.copy_directory_to_target(source_dir, target_dir='.', mode='0o755', target='default', timeout=3600)
remoterunner.RemoteRunner.create_directory_in_target(path, mode='0o755', target='default', timeout=3600)
remoterunner.RemoteRunner.get_terminal(target='default')
remoterunner.RemoteRunner.import_local_path_module_in_terminal(terminal, path)
remoterunner.RemoteRunner.get_proxy_from_call_in_terminal(terminal, remote_function, *args, **kwargs)
remoterunner.RemoteRunner.get_proxy_object_in_terminal(terminal, remote_object)
remoterunner.RemoteRunner.close()
remoterunner.RunResult(status, stdout, stderr)
_process.FailedToKillProcess(pid, handle)
_terminalpools._TerminalPools()
_terminalpools._TerminalPools.set_maxsize(maxsize)
_terminalpools._TerminalPools.active_terminal(shelldicts, properties)
remoteimporter.RemoteImporter(terminal, timeout)
remoteimporter.RemoteImporter.prepare()
remoteimporter.RemoteImporter.importfile(filepath)
remoteimporter.RemoteImporter.importmodule(module)
pythonterminal.PythonTerminal(runnerintarget)
shells.shell.Shell.set_terminal(terminal)
shells.shell.Shell.set_tty_echo(tty_echo)
shells.shell.Shell.get_prompt()
shells.shell.Shell.get_prompt_from_terminal(empty_command='', timeout=-1)
shells.shell.Shell.is_terminal_hung(empty_command='', timeout=-1)
shells.shell.Shell.exec_command(cmd, timeout=-1)
shells.shell.Shell.exec_command_expecting_more(cmd, more_prompt='--More--')
shells.shell.Shell.exec_prompting_command(cmd, responses, timeout=-1)
shells.shell.Shell.create_responses_list(*args)
shells.shell.Shell.get_status_code(timeout=...)
shells.shell.Shell._read_until_end(timeout=0, chunk_timeout=0.1)
shells.autocompletableshell.AutoCompletableShell.get_command_auto_completion(cmd, timeout, autocompletion_trigger)
shells.bashshell.BashShell(cmd='bash', confirmation_msg=None, confirmation_rsp='Y', tty_echo=False, set_rand_promt=True, init_env=None, workdir=None, banner_timeout=0.1)
shells.bashshell.BashShell.get_status_code(timeout=...)
shells.bashshell.BashShell.get_pid()
shells.bashshell.BashShell.start_application(cmd, expect, timeout=60)
shells.bashshell.BashShell.stop_application(timeout=30)
shells.bashshell.BashShell.set_prompt()
shells.bashshell.BashShell.start_application_without_confirmation(cmd)
shells.bashshell.BashShell.confirm_application_was_started(expect, timeout=60)
shells.bashshell.BashShell.scp_copy_file(source_file, dest_ip, dest_user, dest_pass, dest_file)
shells.bashshell.BashShell.scp_download_file(source_file, source_ip, source_user, source_pass, dest_file)
shells.bashshell.BashShell.terminate_process_forced(pid)
shells.sshshell.SshShell(ip, username=None, password=None, tty_echo=False, second_password=None, port=None, init_env=None)
shells.shellstack.DefaultSshShell(**kwargs)
shells.shellstack.ShellStack()
shells.shellstack.ShellStack.initialize(shelldicts)
shells.keyauthenticatedsshshell.KeyAuthenticatedSshShell(host, initial_prompt, tty_echo=False)
shells.remoteshell.RemoteShell(ip, username=None, password=None, tty_echo=False, port=None, source=None, key_file=None, sudo=None)
shells.sudoshell.SudoShell(cmd='sudo bash', password=None)
shells.namespaceshell.NamespaceShell(namespace, *args)
shells.kubernetesshell.KubernetesShell(pod_name, container=None, namespace=None, cmd='bash', init_env=None, workdir=None, cli='kubectl')
shells.pythonshell.PythonShell(start_cmd='python', tty_echo=False, readline_init=None)
shells.pythonshell.PythonShell.single_command_no_output(cmd, timeout=10)
shells.pythonshell.PythonShell.exec_single_with_trigger(cmd, trigger, timeout=10)
shells.pythonshell.PythonShell.stop_run(timeout=3)
shells.sftpshell.SftpShell(ip, username, password, cmd='sftp')
shells.rawpythonshell.RawPythonShell(start_cmd='python -u')
shells.registershell.RegisterShell()
shells.registershell.RegisteredShells()
shells.registershell.RegisteredShells.add_shellcls(shellcls)
shells.registershell.RegisteredShells.create_shell(shellname, **kwargs)
shells.msgreader.MsgReader(read_until_end)
shells.msgreader.MsgReader.read_until_end()
shells.msgreader.MsgReader.get_timeout()
shells.msgreader.MsgReader.set_timeout(timeout)
shells.msgreader.MsgReader.reset_timeout()
shells.timeouts.Timeouts()
shells.timeouts.Timeouts.set(timeout)
shells.timeouts.Timeouts.reset()
shells.timeouts.Timeouts.set_python_short_timeout(timeout)
shells.timeouts.Timeouts.set_proxy_default_timeout(timeout)
shells.pythonshell.PythonShell.single_command(cmd, timeout=10)
shells.pythonshell.PythonShell.block_exec(cmd)
shells.pythonshell.PythonShell.block_end_no_output()
shells.pythonshell.PythonShell.transfer_text_file(source_path, destination_dir='')
InteractiveSessions.InteractiveSessions(session_factory)
InteractiveSessions.InteractiveSessions.set_default_terminal_name(terminal_name)
InteractiveSessions.InteractiveSessions.create_terminal(terminal_name=None, dump_received=None, dump_outgoing=None)
InteractiveSessions.InteractiveSessions.spawn(shell, terminal_name=None)
InteractiveSessions.InteractiveSessions.push(shell, terminal_name=None)
InteractiveSessions.InteractiveSessions.get_current_prompt(terminal_name=None)
InteractiveSessions.InteractiveSessions.get_status_code(terminal_name=None)
InteractiveSessions.InteractiveSessions.get_pid(terminal_name=None)
InteractiveSessions.InteractiveSessions.exec_command(cmd, terminal_name=None, timeout=-1)
InteractiveSessions.InteractiveSessions.exec_prompting_command(cmd, responses=None, terminal_name=None, timeout=-1)
InteractiveSessions.InteractiveSessions.create_responses_list(*args)
InteractiveSessions.InteractiveSessions.exec_command_expecting_more(cmd, more_prompt='--More--', terminal_name=None)
InteractiveSessions.InteractiveSessions.exit_shell(terminal_name=None)
InteractiveSessions.InteractiveSessions.close_terminal(terminal_name=None)
InteractiveSessions.InteractiveSessionFactory.allocate(dump_received=None, dump_outgoing=None)
InteractiveExecutor.InteractiveExecutor(create_node_runner)
InteractiveExecutor.InteractiveExecutor.run(node, command, timeout=60, validate_return_status=False)
SessionManager.SessionManager(create_runner_session)
SelfRepairingSession.SelfRepairingSession(node_name, create_runner_session, python_command=None, max_retries=10, sleep_between_retries=3)
SelfRepairingSession.SelfRepairingSession.run(cmd, ignore_statuses=..., timeout=-1, executable='/bin/bash')
SelfRepairingSession.SelfRepairingSession.run_no_validate(cmd, timeout=-1, executable='/bin/bash')
SelfRepairingSession.SelfRepairingSession.run_ignore_all_exceptions(cmd, timeout=-1, executable='/bin/bash')
InteractiveSessionExecutor.InteractiveSessionExecutor(node_name, host_name, host_user, host_password, node_ip=None, node_user=None, node_password=None, python_command=None, node_namespace=None, dhcpagenthost=None, work_dir=None, management_node_floating_ip=None)
RunnerSession.RunnerSession(node_name, **kwargs)
daemonizer.daemon_popen(cmd, executable, env, outfile=None)
garbagemanager.GarbageManager(clean, max_garbage)
garbagemanager.GarbageManager.add(session_id, garbage)
garbagemanager.GarbageManager.clean_if_needed(session_id)
ShellSubprocess.ExecutionResult(run_id, cmd)
ShellSubprocess.ExecutionResult.get_result(run_id)
ShellSubprocess.ExecutionResult.get_remote_result()
ShellSubprocess.ShellSubprocess(run_id)
ShellSubprocess.ShellSubprocess.get_start_trigger()
ShellSubprocess.ShellSubprocess.get_python_file_path()
ShellSubprocess.ShellSubprocess.get_python_filename()
ShellSubprocess.ShellSubprocess.get_module_name()
ShellSubprocess.ReadonlyShellSubprocess(run_id, serialized_cmd='')
ShellSubprocess.ReadonlyShellSubprocess.run()
ShellSubprocess.RunShellSubprocess(run_id, serialized_cmd, timeout=60, executable='/bin/bash')
ShellSubprocess.RunShellSubprocess.run()
shells.msgpythonshell.MsgPythonShell()
shells.msgpythonshell.MsgPythonShell.set_retry(retry)
shells.msgpythonshell.MsgPythonShell.reset_retry()
shells.msgpythonshell.MsgPythonShell.exec_command(cmd, timeout=-1)
shells.msgpythonshell.MsgPythonShell.send_command(cmd)
shells.msgpythonshell.MsgPythonShell.get_stdout_str()
shells.msgpythonshell.MsgPythonShell.get_prompt()
shells.msgpythonshell.MsgPythonShell.get_prompt_from_terminal(empty_command='', timeout=-1)
shells.paramikospawn.ParamikoSpawn(chan, timeout=30, maxread=40000, searchwindowsize=None, logfile=None, encoding=None, codec_errors='strict', remove_ansi_chars=False)
shells.paramikospawn.ParamikoSpawn.read_nonblocking(size, timeout)
shells.paramikospawn.ParamikoSpawn.write(s)
shells.paramikospawn.ParamikoSpawn.writelines(sequence)
shells.paramikospawn.ParamikoSpawn.send(s)
shells.paramikospawn.ParamikoSpawn.sendline(s='')
shells.paramikospawn.ParamikoSpawn.sendeof()
shells.paramikospawn.ParamikoSpawn.close(force=...)
shells.modules.MainModule(module)
shells.modules.MainModule.cmds_gen()
shells.modules.MainModule.raw_cmds_gen()
shells.modules.ChildModule(module, parent)
shells.termserialization.serialize(s)
shells.termserialization.serialize_from_file(path)
shells.terminalclient.Timer(timeout)
shells.terminalclient.Timer.remaining_timeouts()
shells.terminalclient.TerminalClient()
shells.terminalclient.TerminalClient.set_retry(retry)
shells.terminalclient.TerminalClient.set_wrap_timeout_exception(wrap_timeout_exception)
shells.terminalclient.TerminalClient.set_terminal(terminal)
shells.terminalclient.TerminalClient.send_and_receive(msg, timeout)
shells.terminalclient.TerminalClient.send(msg)
shells.terminalclient.TerminalClient.receive_and_send_ack(timeout)
shells.terminalclient.TerminalComm(terminal)
shells.terminalclient.TerminalComm.set_timeout(timeout)
shells.terminalclient.TerminalComm.read(n)
shells.terminalclient.TerminalComm.read_until_size(n)
shells.terminalclient.TerminalComm.write(s)
shells.remotemodules.msgmanager.Retry(tries, interval, timeout)
shells.remotemodules.msgmanager.Retry.serialize()
shells.remotemodules.msgmanager.Retry.deserialize(serialized_retry)
shells.remotemodules.msgmanager.Retry.timeouts()
shells.remotemodules.msgs.ExecCommandRequest.create(arg=...)
shells.remotemodules.msgs.ExecCommandReply.create_reply(msg, arg=...)
shells.remotemodules.pythoncmdline.PythonCmdline.exec_command(cmd)
shells.remotemodules.pythoncmdline.get_code_object(cmd, mode='exec')
"""  # noqa: E501 - one line for a callable
CAUGHT = """
_process.RunnerTimeout _process.FailedToKillProcess _terminalpools.TerminalPoolsBusy _terminalpools.PoolNotFoundError
_filecopier.RemoteFileReadingFailed _filecopier.RemoteFileOperationTimeout remoterunner.TargetIsNotSet
remoterunner.BackgroundExecIdAlreadyInUse runnerexceptions.RunnerException runnerexceptions.RunnerTerminalSessionClosed
runnerexceptions.RunnerTerminalSessionBroken runnerexceptions.RunnerTerminalUnableToDeserialize
runnerexceptions.InvalidProxySession runnerexceptions.SessionInitializationFailed
interactivesessionexceptions.InteractiveSessionError InteractiveSession.UnexpectedPrompt
InteractiveSession.UnknownShellState shells.shell.TimeoutError shells.bashshell.ScpError shells.bashshell.BashError
shells.bashshell.FailedToStartApplication shells.bashshell.FailedToTerminateProcess
shells.bashshell.SourceInitFileFailed shells.bashshell.CdToWorkdirFailed shells.bashshell.BashShellTypeError
shells.sshshell.SshError shells.sudoshell.SudoError shells.keyauthenticatedsshshell.ShellStartError
shells.pythonshell.PythonRunNotStarted shells.pythonshellbase.UnexpectedOutputInPython shells.remoteshell.RemoteError
shells.sftpshell.SftpConnectionError
shells.registershell.UnregisteredShell shells.registershell.ShellAlreadyRegistered
shells.msgpythonshell.ExecCommandError shells.terminalclient.TerminalClientError
shells.terminalclient.TerminalClientFatalError shells.terminalclient.TimerTimeout
shells.remotemodules.exceptions.FatalPythonError shells.remotemodules.exceptions.ExitFromServe
ShellSubprocess.MismatchInRunId ShellSubprocess.RemoteTimeoutError ShellSubprocess.InterruptedWithSigint
ShellSubprocess.ResultNotStoredYet ShellSubprocess.BackupNotFound SelfRepairingSession.CommandExecutionFailed
SelfRepairingSession.FailedToRunInteractiveHandler SelfRepairingSession.UnexpectedTerminalOutput
SelfRepairingSession.RunNotStarted SelfRepairingSession.SessionNotInitialized
SelfRepairingSession.FailedToCreateSession SelfRepairingSession.RestoreTimedOut
InteractiveSessions.NoSuchTerminal InteractiveSessions.TerminalAlreadyExists
InteractiveSessionExecutor.FailedToSetWorkingDirectory InteractiveSessionExecutor.FailedToRemoveWorkingDirectory
"""
FOR_SUBCLASSES = {
    "runnerterminal.RunnerTerminal": "HANDLED_TYPES HANDLER_SOURCE_PATH HANDLER_TARGET_PATH UNPICKLER "
    "TARGET_CONTEXTMANAGER TARGET_PICKLER TARGET_UNPICKLER MAX_GARBAGE _IMPORTS",
    "autorunnerterminal.AutoRunnerTerminal": "default_verification_timeout",
    "shells.shell.Shell": "_exec_cmd _send_input _send_input_line _send_interrupt _read _read_until _read_until_end "
    "_read_until_prompt _terminal _prompt delaybeforesend tty_echo",
}


LINES = PUBLISHED.strip().splitlines()


@pytest.mark.parametrize("line", LINES, ids=lambda line: line.partition("(")[0])
def test_signature(line: str) -> None:
    path, wanted = published(line)
    got = list(OURS.signature(path).parameters.values())
    for ours_, theirs in zip(got, wanted.parameters.values(), strict=False):
        assert (ours_.name, ours_.kind) == (theirs.name, theirs.kind)
        if theirs.default is ...:
            assert ours_.default is not inspect.Parameter.empty
        elif theirs.default is not inspect.Parameter.empty:
            assert ours_.default == theirs.default
    assert len(got) >= len(wanted.parameters), f"{path} lacks parameters"
    for new in got[len(wanted.parameters) :]:
        assert new.default is not inspect.Parameter.empty or new.kind in (
            inspect.Parameter.VAR_POSITIONAL,
            inspect.Parameter.VAR_KEYWORD,
        )


@pytest.mark.parametrize(
    "line",
    [line for line in LINES if "_RemoteProxy" not in line and "_RecursiveProxy" not in line],
    ids=lambda line: line.partition("(")[0],
)
def test_mocks_with_our_spec_take_published_calls(line: str) -> None:
    path, wanted = published(line)
    by_name = {name: name for name, one in wanted.parameters.items() if one.kind is one.POSITIONAL_OR_KEYWORD}
    owner = OURS.find(path.rpartition(".")[0])
    if inspect.isclass(owner):
        method = getattr(create_autospec(owner, instance=True), path.rpartition(".")[2])
        method(**by_name)
        method(*by_name)
        with pytest.raises(TypeError):
            method(*["too many"] * 30) if not variable(path) else method(no_such_argument_at_all_={}, **{"": 1})
    else:
        mock = create_autospec(OURS.find(path))
        mock(**by_name)
        mock(*by_name)


def variable(path: str) -> bool:
    return any(one.kind is one.VAR_POSITIONAL for one in OURS.signature(path).parameters.values())


@pytest.mark.parametrize("path", CAUGHT.split())
def test_exceptions_can_be_caught_where_they_were(path: str) -> None:
    assert issubclass(OURS.find(path), Exception)


@pytest.mark.parametrize("path", FOR_SUBCLASSES)
def test_attributes_for_subclasses(path: str) -> None:
    for name in FOR_SUBCLASSES[path].split():
        assert inspect.getattr_static(OURS.find(path), name, path) != path, name


def test_types_of_errors_as_published() -> None:
    assert issubclass(OURS.find("shells.bashshell.BashShellTypeError"), TypeError)
    base = OURS.find("interactivesessionexceptions.InteractiveSessionError")
    assert issubclass(OURS.find("shells.shell.TimeoutError"), base)
    assert OURS.find("remoterunner.RunResult") is OURS.find("_process.RunResult")


@pytest.mark.parametrize("name", ["AutorecoveringTerminal", "AutoRecoveringTerminal", "SshShell", "Shell", "BashShell"])
def test_names_that_the_documents_import_from_the_package(name: str) -> None:
    assert inspect.isclass(OURS.find(name))
    assert name in OURS.find("__all__")
