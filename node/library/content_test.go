package library

import (
	"reflect"
	"testing"

	"malla/blobs"
	"malla/node/ffmpeg"
)

// full fills every field of v with something, so that a field that is not kept
// shows.
func full(v reflect.Value) {
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			full(v.Field(i))
		}
	case reflect.String:
		v.SetString("text")
	case reflect.Int, reflect.Int64:
		v.SetInt(90)
	case reflect.Float64:
		v.SetFloat(1.5)
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Map:
		v.Set(reflect.ValueOf(map[string]string{"title": "text"}))
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		full(v.Index(0))
		full(v.Index(1))
	}
}

func TestTheStateKeepsAllThatAProbeTold(t *testing.T) {
	var info ffmpeg.Info
	full(reflect.ValueOf(&info).Elem())
	info.Measured = false // only of interest to whoever probes
	info.Streams[0].Type, info.Streams[0].Cover = "video", true
	info.Streams[1].Type, info.Streams[1].Cover = "audio", false
	info.Streams[0].Width = 120
	blob := blobs.Blob{Ref: blobs.RefOf([]byte("x")), Size: info.Size}
	if got := Recall(Describe(blob, info)); !reflect.DeepEqual(got, info) {
		t.Errorf("got  %+v\nwant %+v", got, info)
	}
	info.Streams[0].Color = ffmpeg.Color{}
	if got := Recall(Describe(blob, info)); got.Streams[0].Color != (ffmpeg.Color{}) {
		t.Errorf("colours out of nothing: %+v", got.Streams[0].Color)
	}
}
