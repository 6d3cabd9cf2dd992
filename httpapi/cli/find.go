package cli

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// A local is a file of this machine that is to be uploaded.
type local struct {
	path string
	size int64 // bytes
}

// mediaExtensions are those of files that a folder's upload takes along. A file
// named by itself is always tried: the node looks at what is in it.
var mediaExtensions = []string{
	".mp3", ".flac", ".wav", ".aac", ".ogg", ".oga", ".opus", ".m4a", ".m4b", ".wma", ".aif", ".aiff",
	".mp4", ".m4v", ".avi", ".mkv", ".webm", ".mov", ".mpg", ".mpeg", ".ts", ".m2ts", ".flv", ".wmv", ".ogv", ".3gp",
}

// find lists the files under the paths: files as they are, folders with all
// media below them, hidden ones left out. Passed is how many files of folders
// were no media by their extension.
func find(paths []string) (files []local, passed int, err error) {
	seen := map[string]bool{}
	take := func(path string, info fs.FileInfo) {
		if key, err := filepath.Abs(path); err == nil && !seen[key] {
			seen[key] = true
			files = append(files, local{path, info.Size()})
		}
	}
	for _, root := range paths {
		info, err := os.Stat(root)
		if err != nil {
			return nil, 0, err
		}
		if !info.IsDir() {
			if !info.Mode().IsRegular() {
				return nil, 0, &fs.PathError{Op: "put", Path: root, Err: errors.New("is neither a file nor a folder")}
			}
			take(root, info)
			continue
		}
		err = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			if path != root && strings.HasPrefix(d.Name(), ".") {
				if d.IsDir() {
					return filepath.SkipDir
				}
				return nil
			}
			if d.IsDir() {
				return nil
			}
			info, err := os.Stat(path) // follows a link to a file
			if err != nil || !info.Mode().IsRegular() {
				passed++
				return nil
			}
			if !slices.Contains(mediaExtensions, strings.ToLower(filepath.Ext(path))) {
				passed++
				return nil
			}
			take(path, info)
			return nil
		})
		if err != nil {
			return nil, 0, err
		}
	}
	return files, passed, nil
}
