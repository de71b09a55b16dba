"""python-x2go's names of sessions: the three classes beneath its client, their methods, arguments and aliases.

Invariant: as of `test_x2go_published_names`, whose table this one goes on with.
"""

from __future__ import annotations

import pytest

from crl.x2go import X2GoSession
from tests.x2go import test_x2go_published_names as names

PUBLISHED = """
session.X2GoSession(server=None, port=22, control_session=None, use_sshproxy=False, sshproxy_reuse_authinfo=False, profile_id=None, profile_name='UNKNOWN', session_name=None, auto_start_or_resume=False, auto_connect=False, printing=False, allow_mimebox=False, mimebox_extensions=..., mimebox_action='OPEN', allow_share_local_folders=False, share_local_folders=..., restore_shared_local_folders=False, control_backend='PLAIN', terminal_backend='PLAIN', info_backend='PLAIN', list_backend='PLAIN', proxy_backend='NX3', settings_backend='FILE', printing_backend='FILE', client_rootdir=..., sessions_rootdir=..., ssh_rootdir=..., keep_controlsession_alive=False, add_to_known_hosts=False, known_hosts=None, forward_sshagent=False, logger=None, loglevel=56, connected=False, activated=False, virgin=True, running=None, suspended=None, terminated=None, faulty=None, client_instance=None, **params)
session.X2GoSession.__call__()
session.X2GoSession.get_client_instance()
session.X2GoSession.HOOK_on_control_session_death()
session.X2GoSession.HOOK_on_failing_SFTP_client()
session.X2GoSession.HOOK_auto_connect()
session.X2GoSession.HOOK_session_startup_failed()
session.X2GoSession.HOOK_desktop_sharing_denied()
session.X2GoSession.HOOK_list_desktops_timeout()
session.X2GoSession.HOOK_no_such_desktop(desktop='UNKNOWN')
session.X2GoSession.HOOK_rforward_request_denied(server_port=0)
session.X2GoSession.HOOK_forwarding_tunnel_setup_failed(chain_host='UNKNOWN', chain_port=0, subsystem=None)
session.X2GoSession.HOOK_printing_not_available()
session.X2GoSession.HOOK_mimebox_not_available()
session.X2GoSession.HOOK_foldersharing_not_available()
session.X2GoSession.HOOK_sshfs_not_available()
session.X2GoSession.HOOK_check_host_dialog(host, port, fingerprint='no fingerprint', fingerprint_type='UNKNOWN')
session.X2GoSession.init_control_session()
session.X2GoSession.is_master_session()
session.X2GoSession.set_master_session(wait=0, max_wait=20)
session.X2GoSession.unset_master_session()
session.X2GoSession.set_server(server)
session.X2GoSession.set_port(port)
session.X2GoSession.set_profile_name(profile_name)
session.X2GoSession.get_session_profile_option(option)
session.X2GoSession.update_params(params)
session.X2GoSession.get_uuid()
session.X2GoSession.get_username()
session.X2GoSession.get_remote_home()
session.X2GoSession.user_is_x2gouser(username=None)
session.X2GoSession.get_password()
session.X2GoSession.get_server_peername()
session.X2GoSession.get_server_hostname()
session.X2GoSession.get_server_port()
session.X2GoSession.get_session_name()
session.X2GoSession.set_session_name(session_name)
session.X2GoSession.get_session_info()
session.X2GoSession.get_session_cmd()
session.X2GoSession.get_session_type()
session.X2GoSession.get_session_title()
session.X2GoSession.get_control_session()
session.X2GoSession.has_control_session()
session.X2GoSession.get_terminal_session()
session.X2GoSession.has_terminal_session()
session.X2GoSession.check_host()
session.X2GoSession.uses_sshproxy()
session.X2GoSession.reuses_sshproxy_authinfo()
session.X2GoSession.can_sshproxy_auto_connect()
session.X2GoSession.can_auto_connect()
session.X2GoSession.do_auto_connect(redirect_to_client=True)
session.X2GoSession.connect(username=None, password=None, passphrase=None, add_to_known_hosts=None, force_password_auth=None, look_for_keys=None, allow_agent=None, use_sshproxy=None, sshproxy_user=None, sshproxy_password=None, sshproxy_passphrase=None, sshproxy_force_password_auth=None, sshproxy_reuse_authinfo=None)
session.X2GoSession.disconnect()
session.X2GoSession.retrieve_server_features()
session.X2GoSession.get_server_features()
session.X2GoSession.has_server_feature(feature)
session.X2GoSession.set_session_window_title(title='')
session.X2GoSession.raise_session_window()
session.X2GoSession.set_print_action(print_action, **kwargs)
session.X2GoSession.is_alive()
session.X2GoSession.clean_sessions(destroy_terminals=True, published_applications=False)
session.X2GoSession.list_sessions(raw=False)
session.X2GoSession.list_desktops(raw=False)
session.X2GoSession.list_mounts(raw=False)
session.X2GoSession.update_status(session_list=None, force_update=False)
session.X2GoSession.is_published_applications_provider()
session.X2GoSession.get_published_applications(lang=None, refresh=False, raw=False, very_raw=False, max_no_submenus=10)
session.X2GoSession.exec_published_application(exec_name, timeout=20)
session.X2GoSession.do_auto_start_or_resume(newest=True, oldest=False, all_suspended=False, start=True, redirect_to_client=True)
session.X2GoSession.reset_progress_status()
session.X2GoSession.get_progress_status()
session.X2GoSession.resume(session_name=None, session_list=None, cmd=None, progress_event=None)
session.X2GoSession._resume(session_name=None, session_list=None, cmd=None, progress_event=None)
session.X2GoSession.start(cmd=None, progress_event=None)
session.X2GoSession.share_desktop(desktop=None, user=None, display=None, share_mode=0, check_desktop_list=True, progress_event=None)
session.X2GoSession._share_desktop(desktop=None, user=None, display=None, share_mode=0, check_desktop_list=True, progress_event=None)
session.X2GoSession.is_desktop_session()
session.X2GoSession.is_rootless_session()
session.X2GoSession.is_shadow_session()
session.X2GoSession.is_pubapp_session()
session.X2GoSession.suspend()
session.X2GoSession._suspend()
session.X2GoSession.terminate()
session.X2GoSession._terminate()
session.X2GoSession.get_profile_name()
session.X2GoSession.get_profile_id()
session.X2GoSession.session_ok()
session.X2GoSession.color_depth_from_session_name()
session.X2GoSession.is_color_depth_ok()
session.X2GoSession.is_connected()
session.X2GoSession.is_running(update_status=False)
session.X2GoSession.is_suspended(update_status=False)
session.X2GoSession.has_terminated(update_status=False)
session.X2GoSession.is_folder_sharing_available()
session.X2GoSession._update_restore_exported_folders()
session.X2GoSession.share_local_folder(local_path=None, folder_name=None, update_exported_folders=True)
session.X2GoSession.share_all_local_folders(update_exported_folders=True)
session.X2GoSession.unshare_local_folder(local_path=None, update_exported_folders=True)
session.X2GoSession.unshare_all_local_folders(force_all=False, update_exported_folders=True)
session.X2GoSession.get_shared_folders(check_list_mounts=False, mounts=None)
session.X2GoSession.session_cleanup()
session.X2GoSession.is_locked()
backends.control.plain.X2GoControlSession(profile_name='UNKNOWN', add_to_known_hosts=False, known_hosts=None, forward_sshagent=False, unique_hostkey_aliases=False, terminal_backend='PLAIN', info_backend='PLAIN', list_backend='PLAIN', proxy_backend='NX3', client_rootdir=..., sessions_rootdir=..., ssh_rootdir=..., logger=None, loglevel=56, published_applications_no_submenus=0, low_latency=False, **kwargs)
backends.control.plain.X2GoControlSession.get_hostname()
backends.control.plain.X2GoControlSession.get_port()
backends.control.plain.X2GoControlSession.load_session_host_keys()
backends.control.plain.X2GoControlSession.test_sftpclient()
backends.control.plain.X2GoControlSession._x2go_sftp_put(local_path, remote_path, timeout=20)
backends.control.plain.X2GoControlSession._x2go_sftp_write(remote_path, content, timeout=20)
backends.control.plain.X2GoControlSession._x2go_sftp_remove(remote_path, timeout=20)
backends.control.plain.X2GoControlSession._x2go_exec_command(cmd_line, loglevel=64, timeout=20, **kwargs)
backends.control.plain.X2GoControlSession.query_server_versions(force=False)
backends.control.plain.X2GoControlSession.query_server_features(force=False)
backends.control.plain.X2GoControlSession._x2go_remote_group(group)
backends.control.plain.X2GoControlSession.is_x2gouser(username)
backends.control.plain.X2GoControlSession.is_sshfs_available()
backends.control.plain.X2GoControlSession.remote_username()
backends.control.plain.X2GoControlSession.remote_peername()
backends.control.plain.X2GoControlSession.set_profile_name(profile_name)
backends.control.plain.X2GoControlSession.check_host(hostname, port=22)
backends.control.plain.X2GoControlSession.connect(hostname, port=22, username=None, password=None, passphrase=None, pkey=None, key_filename=None, timeout=None, allow_agent=False, look_for_keys=False, use_sshproxy=False, sshproxy_host=None, sshproxy_port=22, sshproxy_user=None, sshproxy_password=None, sshproxy_force_password_auth=False, sshproxy_key_filename=None, sshproxy_pkey=None, sshproxy_look_for_keys=False, sshproxy_passphrase='', sshproxy_allow_agent=False, sshproxy_tunnel=None, add_to_known_hosts=None, forward_sshagent=None, unique_hostkey_aliases=None, force_password_auth=False, session_instance=None)
backends.control.plain.X2GoControlSession.dissociate(terminal_session)
backends.control.plain.X2GoControlSession.disconnect()
backends.control.plain.X2GoControlSession.home_exists()
backends.control.plain.X2GoControlSession.is_alive()
backends.control.plain.X2GoControlSession.has_session_died()
backends.control.plain.X2GoControlSession.get_published_applications(lang=None, refresh=False, raw=False, very_raw=False, max_no_submenus=10)
backends.control.plain.X2GoControlSession.start(**kwargs)
backends.control.plain.X2GoControlSession.resume(session_name=None, session_instance=None, session_list=None, **kwargs)
backends.control.plain.X2GoControlSession.share_desktop(desktop=None, user=None, display=None, share_mode=0, **kwargs)
backends.control.plain.X2GoControlSession.list_desktops(raw=False, maxwait=20)
backends.control.plain.X2GoControlSession.list_mounts(session_name, raw=False, maxwait=20)
backends.control.plain.X2GoControlSession.list_sessions(raw=False)
backends.control.plain.X2GoControlSession.clean_sessions(destroy_terminals=True, published_applications=False)
backends.control.plain.X2GoControlSession.is_connected()
backends.control.plain.X2GoControlSession.is_running(session_name)
backends.control.plain.X2GoControlSession.is_suspended(session_name)
backends.control.plain.X2GoControlSession.has_terminated(session_name)
backends.control.plain.X2GoControlSession.suspend(session_name)
backends.control.plain.X2GoControlSession.terminate(session_name, destroy_terminals=True)
backends.terminal.plain.X2GoSessionParams.rewrite_session_type()
backends.terminal.plain.X2GoSessionParams.update(**properties_to_be_updated)
backends.terminal.plain.X2GoTerminalSession(control_session, session_info=None, geometry='800x600', depth=..., link='adsl', pack='16m-jpeg-9', dpi='', cache_type='unix-kde', kbtype='null/null', kblayout='null', kbvariant='null', clipboard='both', xinerama=False, kdrive=False, session_type='application', snd_system=..., snd_port=4713, cmd=None, published_applications=False, set_session_title=False, session_title='', applications=..., rdp_server=None, rdp_options=None, xdmcp_server=None, convert_encoding=False, server_encoding='UTF-8', client_encoding='UTF-8', rootdir=None, profile_name='UNKNOWN', profile_id=..., print_action=None, print_action_args=..., info_backend='PLAIN', list_backend='PLAIN', proxy_backend='NX3', proxy_options=..., printing_backend='FILE', client_rootdir=..., sessions_rootdir=..., session_instance=None, logger=None, loglevel=56)
backends.terminal.plain.X2GoTerminalSession._x2go_tidy_up()
backends.terminal.plain.X2GoTerminalSession._mk_sessions_rootdir(rootdir)
backends.terminal.plain.X2GoTerminalSession._rm_session_dirtree()
backends.terminal.plain.X2GoTerminalSession._rm_desktop_dirtree()
backends.terminal.plain.X2GoTerminalSession.get_session_name()
backends.terminal.plain.X2GoTerminalSession.get_session_info()
backends.terminal.plain.X2GoTerminalSession.get_session_cmd()
backends.terminal.plain.X2GoTerminalSession.get_session_type()
backends.terminal.plain.X2GoTerminalSession.start_sound()
backends.terminal.plain.X2GoTerminalSession.start_sshfs()
backends.terminal.plain.X2GoTerminalSession._x2go_pause_rev_fw_tunnel(name)
backends.terminal.plain.X2GoTerminalSession.stop_sound()
backends.terminal.plain.X2GoTerminalSession.stop_sshfs()
backends.terminal.plain.X2GoTerminalSession.start_printing()
backends.terminal.plain.X2GoTerminalSession.set_print_action(print_action, **kwargs)
backends.terminal.plain.X2GoTerminalSession.stop_printing()
backends.terminal.plain.X2GoTerminalSession.get_printing_spooldir()
backends.terminal.plain.X2GoTerminalSession.start_mimebox(mimebox_extensions=..., mimebox_action=None)
backends.terminal.plain.X2GoTerminalSession.set_mimebox_action(mimebox_action, **kwargs)
backends.terminal.plain.X2GoTerminalSession.stop_mimebox()
backends.terminal.plain.X2GoTerminalSession.get_mimebox_spooldir()
backends.terminal.plain.X2GoTerminalSession.start_telekinesis()
backends.terminal.plain.X2GoTerminalSession.is_session_info_protected()
backends.terminal.plain.X2GoTerminalSession.session_info_protect()
backends.terminal.plain.X2GoTerminalSession.session_info_unprotect()
backends.terminal.plain.X2GoTerminalSession.share_local_folder(local_path=None, folder_type='disk')
backends.terminal.plain.X2GoTerminalSession.unshare_all_local_folders()
backends.terminal.plain.X2GoTerminalSession.unshare_local_folder(local_path)
backends.terminal.plain.X2GoTerminalSession.color_depth()
backends.terminal.plain.X2GoTerminalSession.auto_session_window_title(dont_set=False)
backends.terminal.plain.X2GoTerminalSession.find_session_window(timeout=60)
backends.terminal.plain.X2GoTerminalSession._find_session_window(timeout=0)
backends.terminal.plain.X2GoTerminalSession.update_session_window_file()
backends.terminal.plain.X2GoTerminalSession.set_session_window_title(title, timeout=60)
backends.terminal.plain.X2GoTerminalSession._set_session_window_title(title, timeout=0)
backends.terminal.plain.X2GoTerminalSession.raise_session_window(timeout=60)
backends.terminal.plain.X2GoTerminalSession._raise_session_window(timeout=0)
backends.terminal.plain.X2GoTerminalSession.has_command(cmd)
backends.terminal.plain.X2GoTerminalSession.run_command(cmd=None, env=...)
backends.terminal.plain.X2GoTerminalSession.is_desktop_session()
backends.terminal.plain.X2GoTerminalSession.is_published_applications_provider()
backends.terminal.plain.X2GoTerminalSession.set_keyboard(layout='null', variant='null')
backends.terminal.plain.X2GoTerminalSession.exec_published_application(exec_name, timeout=20, env=...)
backends.terminal.plain.X2GoTerminalSession.ok()
backends.terminal.plain.X2GoTerminalSession.is_running()
backends.terminal.plain.X2GoTerminalSession.is_suspended()
backends.terminal.plain.X2GoTerminalSession.is_connected()
backends.terminal.plain.X2GoTerminalSession.start()
backends.terminal.plain.X2GoTerminalSession.resume()
backends.terminal.plain.X2GoTerminalSession.suspend()
backends.terminal.plain.X2GoTerminalSession.terminate()
backends.terminal.plain.X2GoTerminalSession.release_proxy()
backends.terminal.plain.X2GoTerminalSession.release_telekinesis()
backends.terminal.plain.X2GoTerminalSession.post_terminate_cleanup()
backends.terminal.plain.X2GoTerminalSession.is_kdrive_session()
backends.terminal.plain.X2GoTerminalSession.is_rootless_session()
backends.terminal.plain.X2GoTerminalSession.is_shadow_session()
backends.terminal.plain.X2GoTerminalSession.is_pubapp_session()
"""  # noqa: E501 - one line for a callable
PROPERTIES = """
backends.control.plain.X2GoControlSession._x2go_server_versions
backends.control.plain.X2GoControlSession._x2go_server_features
backends.control.plain.X2GoControlSession._x2go_remote_home
backends.control.plain.X2GoControlSession._x2go_session_auth_rsakey
"""
ALIASES = """
get_client_instance init_control_session is_master_session set_master_session unset_master_session set_server set_port
set_profile_name get_session_profile_option get_uuid get_username get_remote_home get_password get_server_peername
remote_peername get_server_hostname get_server_port get_session_name set_session_name get_session_info get_session_cmd
get_session_type get_session_title get_control_session has_control_session get_terminal_session has_terminal_session
is_associated check_host uses_sshproxy reuses_sshproxy_authinfo can_sshproxy_auto_connect can_auto_connect
do_auto_connect connect disconnect retrieve_server_features get_server_features has_server_feature
set_session_window_title raise_session_window set_print_action is_alive clean_sessions list_sessions list_desktops
list_mounts update_status is_published_applications_provider get_published_applications exec_published_application
do_auto_start_or_resume resume start share_desktop is_desktop_session is_rootless_session is_shadow_session
is_pubapp_session suspend terminate get_profile_name get_profile_id session_ok color_depth_from_session_name
is_color_depth_ok is_connected is_running is_suspended has_terminated is_folder_sharing_available share_local_folder
share_all_local_folders unshare_local_folder unshare_all_local_folders get_shared_folders session_cleanup
"""


@pytest.mark.parametrize("line", PUBLISHED.split("\n")[1:-1], ids=lambda line: line.partition("(")[0])
def test_signature(line: str) -> None:
    names.test_signature(line)


@pytest.mark.parametrize("path", PROPERTIES.split())
def test_properties(path: str) -> None:
    names.test_properties(path)


@pytest.mark.parametrize("name", ALIASES.split())
def test_private_aliases_that_applications_use(name: str) -> None:
    ours = getattr(X2GoSession, f"_X2GoSession__{name}")
    assert ours is getattr(X2GoSession, name)

    class Overriding(X2GoSession):
        pass

    setattr(Overriding, name, None)
    assert getattr(Overriding, f"_X2GoSession__{name}") is ours


def test_public_aliases() -> None:
    assert X2GoSession.remote_peername is X2GoSession.get_server_peername
    assert X2GoSession.is_associated is X2GoSession.has_terminal_session
    control = names.OURS.find("backends.control.plain.X2GoControlSession")
    assert control.get_server_versions is control.query_server_versions
    assert control.get_server_features is control.query_server_features
