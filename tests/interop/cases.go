package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	pb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

var cases = []struct {
	name string
	run  func(ctx context.Context, channel *grpc.ClientConn) error
}{
	{"empty_unary", emptyUnary},
	{"large_unary", largeUnary},
	{"client_streaming", clientStreaming},
	{"server_streaming", serverStreaming},
	{"ping_pong", pingPong},
	{"empty_stream", emptyStream},
	{"cancel_after_begin", cancelAfterBegin},
	{"cancel_after_first_response", cancelAfterFirstResponse},
	{"timeout_on_sleeping_server", timeoutOnSleepingServer},
	{"custom_metadata", customMetadata},
	{"status_code_and_message", statusCodeAndMessage},
	{"special_status_message", specialStatusMessage},
	{"unimplemented_method", unimplementedMethod},
	{"unimplemented_service", unimplementedService},
}

var (
	requestSizes  = []int32{27182, 8, 1828, 45904}
	responseSizes = []int32{31415, 9, 2653, 58979}
)

func is(what string, got, want interface{}) error {
	if got != want {
		return fmt.Errorf("%s: %v, not %v", what, got, want)
	}
	return nil
}

func first(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func hasCode(err error, want codes.Code) error {
	if status.Code(err) != want {
		return fmt.Errorf("ended with %v, not %v", err, want)
	}
	return nil
}

func hasStatus(err error, code codes.Code, message string) error {
	return first(hasCode(err, code), is("the message", status.Convert(err).Message(), message))
}

func emptyUnary(ctx context.Context, channel *grpc.ClientConn) error {
	reply, err := pb.NewTestServiceClient(channel).EmptyCall(ctx, &pb.Empty{})
	if err != nil {
		return err
	}
	return is("the answer", reply.String(), (&pb.Empty{}).String())
}

func largeUnary(ctx context.Context, channel *grpc.ClientConn) error {
	reply, err := pb.NewTestServiceClient(channel).UnaryCall(ctx, &pb.SimpleRequest{
		ResponseSize: 314159, Payload: payload(271828)})
	if err != nil {
		return err
	}
	return is("the answer's size", len(reply.Payload.GetBody()), 314159)
}

func clientStreaming(ctx context.Context, channel *grpc.ClientConn) error {
	stream, err := pb.NewTestServiceClient(channel).StreamingInputCall(ctx)
	if err != nil {
		return err
	}
	for _, size := range requestSizes {
		err := stream.Send(&pb.StreamingInputCallRequest{Payload: payload(size)})
		if err != nil {
			return err
		}
	}
	reply, err := stream.CloseAndRecv()
	if err != nil {
		return err
	}
	return is("the sum", reply.AggregatedPayloadSize, int32(74922))
}

func serverStreaming(ctx context.Context, channel *grpc.ClientConn) error {
	request := &pb.StreamingOutputCallRequest{}
	for _, size := range responseSizes {
		request.ResponseParameters = append(request.ResponseParameters,
			&pb.ResponseParameters{Size: size})
	}
	stream, err := pb.NewTestServiceClient(channel).StreamingOutputCall(ctx, request)
	if err != nil {
		return err
	}
	for _, size := range responseSizes {
		reply, err := stream.Recv()
		if err != nil {
			return err
		}
		if err := is("a size", int32(len(reply.Payload.GetBody())), size); err != nil {
			return err
		}
	}
	_, err = stream.Recv()
	return is("the end", err, io.EOF)
}

func ask(requestSize, responseSize int32) *pb.StreamingOutputCallRequest {
	return &pb.StreamingOutputCallRequest{Payload: payload(requestSize),
		ResponseParameters: []*pb.ResponseParameters{{Size: responseSize}}}
}

func pingPong(ctx context.Context, channel *grpc.ClientConn) error {
	stream, err := pb.NewTestServiceClient(channel).FullDuplexCall(ctx)
	if err != nil {
		return err
	}
	for i := range requestSizes {
		if err := stream.Send(ask(requestSizes[i], responseSizes[i])); err != nil {
			return err
		}
		reply, err := stream.Recv()
		if err != nil {
			return err
		}
		err = is("a size", int32(len(reply.Payload.GetBody())), responseSizes[i])
		if err != nil {
			return err
		}
	}
	if err := stream.CloseSend(); err != nil {
		return err
	}
	_, err = stream.Recv()
	return is("the end", err, io.EOF)
}

func emptyStream(ctx context.Context, channel *grpc.ClientConn) error {
	stream, err := pb.NewTestServiceClient(channel).FullDuplexCall(ctx)
	if err != nil {
		return err
	}
	if err := stream.CloseSend(); err != nil {
		return err
	}
	_, err = stream.Recv()
	return is("the end", err, io.EOF)
}

func cancelAfterBegin(ctx context.Context, channel *grpc.ClientConn) error {
	ctx, cancel := context.WithCancel(ctx)
	stream, err := pb.NewTestServiceClient(channel).StreamingInputCall(ctx)
	if err != nil {
		cancel()
		return err
	}
	cancel()
	_, err = stream.CloseAndRecv()
	return hasCode(err, codes.Canceled)
}

func cancelAfterFirstResponse(ctx context.Context, channel *grpc.ClientConn) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := pb.NewTestServiceClient(channel).FullDuplexCall(ctx)
	if err != nil {
		return err
	}
	if err := stream.Send(ask(27182, 31415)); err != nil {
		return err
	}
	if _, err := stream.Recv(); err != nil {
		return err
	}
	cancel()
	_, err = stream.Recv()
	return hasCode(err, codes.Canceled)
}

func timeoutOnSleepingServer(ctx context.Context, channel *grpc.ClientConn) error {
	ctx, cancel := context.WithTimeout(ctx, time.Millisecond)
	defer cancel()
	stream, err := pb.NewTestServiceClient(channel).FullDuplexCall(ctx)
	if err != nil {
		return hasCode(err, codes.DeadlineExceeded)
	}
	request := ask(27182, 31415)
	request.ResponseParameters[0].IntervalUs = 60 * 1000 * 1000
	if err := stream.Send(request); err != nil && err != io.EOF {
		return hasCode(err, codes.DeadlineExceeded)
	}
	_, err = stream.Recv()
	return hasCode(err, codes.DeadlineExceeded)
}

const initialValue, trailingValue = "test_initial_metadata_value", "\xab\xab\xab"

func hasEchoed(headers, trailers metadata.MD) error {
	return first(
		is("the header", fmt.Sprintf("%q", headers.Get(initialKey)),
			fmt.Sprintf("%q", []string{initialValue})),
		is("the trailer", fmt.Sprintf("%q", trailers.Get(trailingKey)),
			fmt.Sprintf("%q", []string{trailingValue})))
}

func customMetadata(ctx context.Context, channel *grpc.ClientConn) error {
	ctx = metadata.AppendToOutgoingContext(ctx, initialKey, initialValue, trailingKey,
		trailingValue)
	var headers, trailers metadata.MD
	_, err := pb.NewTestServiceClient(channel).UnaryCall(ctx, &pb.SimpleRequest{
		ResponseSize: 314159, Payload: payload(271828)},
		grpc.Header(&headers), grpc.Trailer(&trailers))
	if err != nil {
		return err
	}
	if err := hasEchoed(headers, trailers); err != nil {
		return err
	}
	stream, err := pb.NewTestServiceClient(channel).FullDuplexCall(ctx)
	if err != nil {
		return err
	}
	if err := stream.Send(ask(27182, 31415)); err != nil {
		return err
	}
	if headers, err = stream.Header(); err != nil {
		return err
	}
	if _, err := stream.Recv(); err != nil {
		return err
	}
	if err := stream.CloseSend(); err != nil {
		return err
	}
	if _, err := stream.Recv(); err != io.EOF {
		return is("the end", err, io.EOF)
	}
	return hasEchoed(headers, stream.Trailer())
}

func statusCodeAndMessage(ctx context.Context, channel *grpc.ClientConn) error {
	const message = "test status message"
	want := &pb.EchoStatus{Code: int32(codes.Unknown), Message: message}
	client := pb.NewTestServiceClient(channel)
	_, err := client.UnaryCall(ctx, &pb.SimpleRequest{ResponseStatus: want})
	if err := hasStatus(err, codes.Unknown, message); err != nil {
		return err
	}
	stream, err := client.FullDuplexCall(ctx)
	if err != nil {
		return err
	}
	if err := stream.Send(&pb.StreamingOutputCallRequest{ResponseStatus: want}); err != nil {
		return err
	}
	if err := stream.CloseSend(); err != nil {
		return err
	}
	_, err = stream.Recv()
	return hasStatus(err, codes.Unknown, message)
}

func specialStatusMessage(ctx context.Context, channel *grpc.ClientConn) error {
	const message = "\t\ntest with whitespace\r\nand Unicode BMP ☺ and non-BMP 😈\t\n"
	_, err := pb.NewTestServiceClient(channel).UnaryCall(ctx, &pb.SimpleRequest{
		ResponseStatus: &pb.EchoStatus{Code: int32(codes.Unknown), Message: message}})
	return hasStatus(err, codes.Unknown, message)
}

func unimplementedMethod(ctx context.Context, channel *grpc.ClientConn) error {
	_, err := pb.NewTestServiceClient(channel).UnimplementedCall(ctx, &pb.Empty{})
	return hasCode(err, codes.Unimplemented)
}

func unimplementedService(ctx context.Context, channel *grpc.ClientConn) error {
	_, err := pb.NewUnimplementedServiceClient(channel).UnimplementedCall(ctx, &pb.Empty{})
	return hasCode(err, codes.Unimplemented)
}
