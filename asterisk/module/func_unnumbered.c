/*
 * UNNUMBERED(): a channel whose audio carries no RTP sequence numbers.
 *
 * Debian's Asterisk takes sequence numbers for a sign of lost packets wherever audio is converted (its patch 2016_opus_plc, for
 * Opus). Audio that Asterisk makes itself has number 0: silence in the place of a packet that the jitter buffer misses, and what
 * comes over chan_websocket. Next to a number beyond 32767 that looks like a packet which is hopelessly late, and so does every
 * packet after it: the party is not heard any more, for minutes, until its numbers have come round. With all numbers 0 nothing is
 * ever late. Where the patch is missing the numbers mean nothing, and this changes nothing.
 *
 * The jitter buffer goes by time stamps, so it does not matter which of the two is set first: Set(UNNUMBERED()=yes)
 *
 * This file is linked with Asterisk and therefore under the GNU General Public License, version 2.
 */

#include <asterisk.h>

#include <asterisk/channel.h>
#include <asterisk/framehook.h>
#include <asterisk/logger.h>
#include <asterisk/module.h>
#include <asterisk/pbx.h>

/* Called for each frame that the channel reads, before any conversion. */
static struct ast_frame *forget_number(struct ast_channel *channel, struct ast_frame *frame, enum ast_framehook_event event, void *data)
{
	if (event == AST_FRAMEHOOK_EVENT_READ && frame && frame->seqno) {
		frame->seqno = 0;
	}
	return frame;
}

/* Frames are changed, never taken away. */
static int consumes(void *data, enum ast_frame_type type)
{
	return 0;
}

static int write_unnumbered(struct ast_channel *channel, const char *function, char *arguments, const char *value)
{
	struct ast_framehook_interface hook = {
		.version = AST_FRAMEHOOK_INTERFACE_VERSION,
		.event_cb = forget_number,
		.consume_cb = consumes,
	};
	int attached;

	if (!channel) {
		ast_log(LOG_WARNING, "%s needs a channel\n", function);
		return -1;
	}
	ast_channel_lock(channel);
	attached = ast_framehook_attach(channel, &hook);
	ast_channel_unlock(channel);
	if (attached < 0) {
		ast_log(LOG_ERROR, "%s could not be set on %s\n", function, ast_channel_name(channel));
	}
	return attached < 0 ? -1 : 0;
}

static struct ast_custom_function unnumbered = {
	.name = "UNNUMBERED",
	.synopsis = "Take RTP sequence numbers off what the channel hears",
	.syntax = "UNNUMBERED()",
	.write = write_unnumbered,
};

static int load_module(void)
{
	if (ast_custom_function_register(&unnumbered)) {
		return AST_MODULE_LOAD_DECLINE;
	}
	/* Channels keep pointers into it: it goes when Asterisk goes. */
	ast_module_shutdown_ref(ast_module_info->self);
	return AST_MODULE_LOAD_SUCCESS;
}

static int unload_module(void)
{
	return ast_custom_function_unregister(&unnumbered);
}

AST_MODULE_INFO_STANDARD(ASTERISK_GPL_KEY, "Audio without RTP sequence numbers");
